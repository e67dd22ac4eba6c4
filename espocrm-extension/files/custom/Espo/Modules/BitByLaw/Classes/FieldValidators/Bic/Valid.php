<?php

namespace Espo\Modules\BitByLaw\Classes\FieldValidators\Bic;

use Espo\Core\FieldValidation\Validator;
use Espo\Core\FieldValidation\Validator\Data;
use Espo\Core\FieldValidation\Validator\Failure;
use Espo\Modules\BitByLaw\Classes\FieldValidators\Refusals;
use Espo\ORM\Entity;

/**
 * A BIC: institution, country, place and perhaps a branch (ISO 9362). Blanks and small letters are fine.
 *
 * @implements Validator<Entity>
 */
class Valid implements Validator
{
    private const PATTERN = '/^[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}([A-Z0-9]{3})?$/D';

    public function __construct(private Refusals $refusals) {}

    public function validate(Entity $entity, string $field, Data $data): ?Failure
    {
        $bic = strtoupper(preg_replace('/\s+/', '', $entity->get($field) ?? '') ?? '');

        if ($bic === '' || preg_match(self::PATTERN, $bic)) {
            return null;
        }

        $message = in_array(strlen($bic), [8, 11], true) ? 'bicFormat' : 'bicLength';

        return $this->refusals->refuse($entity, $field, 'bic', $data, $message, ['found' => (string) strlen($bic)]);
    }
}
