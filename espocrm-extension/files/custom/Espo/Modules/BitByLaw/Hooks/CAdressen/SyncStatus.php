<?php

namespace Espo\Modules\BitByLaw\Hooks\CAdressen;

use Espo\Modules\BitByLaw\Classes\Sync\StatusHook;

class SyncStatus extends StatusHook
{
}
