<?php

namespace Espo\Modules\BitByLaw\Hooks\CBankverbindungen;

use Espo\Modules\BitByLaw\Classes\Sync\PartHook;

class Owner extends PartHook
{
}
