<?php

namespace Espo\Modules\BitByLaw\Classes\FieldValidators\Bic;

use Espo\Core\FieldValidation\Validator;
use Espo\Core\FieldValidation\Validator\Data;
use Espo\Core\FieldValidation\Validator\Failure;
use Espo\ORM\Entity;

/**
 * A BIC: institution, country, place and perhaps a branch (ISO 9362). Blanks and small letters are fine.
 *
 * @implements Validator<Entity>
 */
class Valid implements Validator
{
    private const PATTERN = '/^[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}([A-Z0-9]{3})?$/D';

    public function validate(Entity $entity, string $field, Data $data): ?Failure
    {
        $value = $entity->get($field);

        if ($value === null) {
            return null;
        }

        $bic = strtoupper(preg_replace('/\s+/', '', $value) ?? '');

        return preg_match(self::PATTERN, $bic) ? null : Failure::create();
    }
}
