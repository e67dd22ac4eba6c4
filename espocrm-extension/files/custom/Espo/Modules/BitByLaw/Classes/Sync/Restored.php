<?php

namespace Espo\Modules\BitByLaw\Classes\Sync;

/**
 * The save option that tells our hooks that a record was deleted and is back.
 */
class Restored
{
    public const OPTION = 'bitbylawRestored';
}
