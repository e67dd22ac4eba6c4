<?php

namespace Espo\Modules\BitByLaw\Entities;

use Espo\Core\Templates\Entities\Person;

/**
 * A person or a company. A company has neither first nor last name and is called by its firm.
 *
 * Lists, links and searches, which do not go through this class, get the same name from
 * Classes\FieldConverters\PersonOrFirmName.
 */
class CBeteiligte extends Person
{
    public const ENTITY_TYPE = 'CBeteiligte';

    protected function _getName(): ?string
    {
        return ($this->getFromContainer('name') ?: $this->getFromContainer('firmenname')) ?: null;
    }

    protected function _hasName(): bool
    {
        return $this->hasInContainer('name') || $this->hasInContainer('firmenname');
    }
}
