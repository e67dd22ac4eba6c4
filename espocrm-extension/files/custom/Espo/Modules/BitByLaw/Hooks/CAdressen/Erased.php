<?php

namespace Espo\Modules\BitByLaw\Hooks\CAdressen;

use Espo\Modules\BitByLaw\Classes\Sync\ErasedHook;

class Erased extends ErasedHook
{
}
