<?php

namespace Espo\Modules\BitByLaw\Classes\FieldValidators\Betnr;

use Espo\Core\FieldValidation\Validator;
use Espo\Core\FieldValidation\Validator\Data;
use Espo\Core\FieldValidation\Validator\Failure;
use Espo\ORM\Entity;
use Espo\ORM\EntityManager;

/**
 * No two records may stand for the same Beteiligter of Advoware.
 *
 * @implements Validator<Entity>
 */
class Unique implements Validator
{
    public function __construct(private EntityManager $entityManager) {}

    public function validate(Entity $entity, string $field, Data $data): ?Failure
    {
        $value = $entity->get($field);

        if ($value === null || !$entity->isAttributeChanged($field)) {
            return null;
        }

        $other = $this->entityManager
            ->getRDBRepository($entity->getEntityType())
            ->select(['id'])
            ->where([
                $field => $value,
                'id!=' => $entity->hasId() ? $entity->getId() : null,
            ])
            ->findOne();

        return $other ? Failure::create() : null;
    }
}
