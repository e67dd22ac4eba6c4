<?php

namespace Espo\Modules\BitByLaw\Hooks\CBankverbindungen;

use Espo\Modules\BitByLaw\Classes\Sync\ErasedHook;

class Erased extends ErasedHook
{
}
