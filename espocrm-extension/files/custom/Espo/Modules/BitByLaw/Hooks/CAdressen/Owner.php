<?php

namespace Espo\Modules\BitByLaw\Hooks\CAdressen;

use Espo\Modules\BitByLaw\Classes\Sync\PartHook;

class Owner extends PartHook
{
}
