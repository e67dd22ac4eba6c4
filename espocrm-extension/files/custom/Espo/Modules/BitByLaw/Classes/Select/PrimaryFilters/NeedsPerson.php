<?php

namespace Espo\Modules\BitByLaw\Classes\Select\PrimaryFilters;

use Espo\Core\Select\Primary\Filter;
use Espo\Core\Utils\Metadata;
use Espo\ORM\Query\SelectBuilder;

/**
 * What waits until a person has decided or corrected something.
 */
class NeedsPerson implements Filter
{
    public function __construct(private Metadata $metadata) {}

    public function apply(SelectBuilder $queryBuilder): void
    {
        $queryBuilder->where(['syncStatus' => $this->metadata->get(['app', 'bitbylaw', 'needsPerson'])]);
    }
}
