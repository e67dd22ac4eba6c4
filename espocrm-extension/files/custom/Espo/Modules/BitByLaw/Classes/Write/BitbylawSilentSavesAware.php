<?php

namespace Espo\Modules\BitByLaw\Classes\Write;

/**
 * EspoCRM injects by the name of the interface, as with its own Espo\Core\Di\*Aware: the service "bitbylawSilentSaves".
 */
interface BitbylawSilentSavesAware
{
    public function setBitbylawSilentSaves(SilentSaves $silentSaves): void;
}
