<?php

/*
 * Our classes from here, EspoCRM's from the EspoCRM that ESPOCRM_SOURCE names: none of its code is kept with ours.
 */

$source = getenv('ESPOCRM_SOURCE') ?: '';

if (!is_file("$source/vendor/autoload.php")) {
    fwrite(STDERR, "ESPOCRM_SOURCE must name the folder of an EspoCRM with its vendor folder.\n");

    exit(1);
}

require "$source/vendor/autoload.php";

spl_autoload_register(
    function (string $class): void {
        $path = str_replace('\\', '/', $class) . '.php';
        $ours = dirname(__DIR__) . '/files/custom/' . $path;

        if (str_starts_with($class, 'Espo\\Modules\\BitByLaw\\') && is_file($ours)) {
            require $ours;
        }
    },
    prepend: true
);

foreach (['AfterInstall', 'AfterUninstall'] as $script) {
    require dirname(__DIR__) . "/scripts/$script.php";
}
