<?php

namespace Espo\Modules\BitByLaw\Classes\Select\PrimaryFilters;

use Espo\Core\Select\Primary\Filter;
use Espo\ORM\Query\SelectBuilder;

/**
 * What does not agree with Advoware, for whatever reason; new accounts have no status yet.
 */
class NotInSync implements Filter
{
    public function apply(SelectBuilder $queryBuilder): void
    {
        $queryBuilder->where([
            'OR' => [
                ['syncStatus!=' => 'clean'],
                ['syncStatus' => null],
            ],
        ]);
    }
}
