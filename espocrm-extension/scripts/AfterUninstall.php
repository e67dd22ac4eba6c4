<?php

use Espo\Core\Container;
use Espo\Core\InjectableFactory;
use Espo\Core\Utils\Config;
use Espo\Core\Utils\Config\ConfigWriter;

/**
 * Runs after the extension's files are gone: takes its entities out of navigation bar, global search and quick create
 * menu, where they would lead nowhere.
 *
 * Tables, records, webhooks and the role stay, so that a new installation finds everything as it was.
 */
class AfterUninstall
{
    private const ENTITY_TYPES = ['CBeteiligte', 'CAdressen', 'CBankverbindungen'];
    private const LISTS = ['tabList', 'globalSearchEntityList', 'quickCreateList'];
    private const DONE = 'bitbylawPlaces';

    public function run(Container $container): void
    {
        $config = $container->getByClass(Config::class);
        $writer = $container->getByClass(InjectableFactory::class)->create(ConfigWriter::class);

        foreach (self::LISTS as $name) {
            $kept = array_filter(
                $config->get($name) ?? [],
                fn (mixed $item) => !in_array($item, self::ENTITY_TYPES, true)
            );

            $writer->set($name, array_values($kept));
        }

        // Not removed: a new installation knows by it that the places were not given up by an administrator.
        $writer->set(self::DONE, false);
        $writer->save();
    }
}
