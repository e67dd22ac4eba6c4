<?php

namespace Espo\Modules\BitByLaw\Hooks\CBeteiligte;

use Espo\Modules\BitByLaw\Classes\Sync\ErasedHook;

class Erased extends ErasedHook
{
}
