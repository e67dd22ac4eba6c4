<?php

namespace Espo\Modules\BitByLaw\Classes\Select\PrimaryFilters;

use Espo\Core\Select\Primary\Filter;
use Espo\ORM\Query\SelectBuilder;

/**
 * What could not be synced, whether another try follows or not.
 */
class SyncFailed implements Filter
{
    public function apply(SelectBuilder $queryBuilder): void
    {
        $queryBuilder->where(['syncStatus' => ['failed', 'permanently_failed']]);
    }
}
