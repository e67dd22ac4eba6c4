<?php

namespace Espo\Modules\BitByLaw\Hooks\CBeteiligte;

use Espo\Modules\BitByLaw\Classes\Sync\StatusHook;

class SyncStatus extends StatusHook
{
}
