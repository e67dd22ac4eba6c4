<?php

namespace Espo\Modules\BitByLaw\Classes\Select\PrimaryFilters;

use Espo\Core\Select\Primary\Filter;
use Espo\Entities\User;
use Espo\ORM\Query\SelectBuilder;

/**
 * What waits for a person and is assigned to the one who asks.
 */
class WaitsForMe implements Filter
{
    public function __construct(
        private NeedsPerson $needsPerson,
        private User $user
    ) {}

    public function apply(SelectBuilder $queryBuilder): void
    {
        $this->needsPerson->apply($queryBuilder);

        $queryBuilder->where(['assignedUserId' => $this->user->getId()]);
    }
}
