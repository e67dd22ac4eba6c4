<?php

namespace Espo\Modules\BitByLaw\Classes\FieldValidators\Iban;

use Espo\Core\FieldValidation\Validator;
use Espo\Core\FieldValidation\Validator\Data;
use Espo\Core\FieldValidation\Validator\Failure;
use Espo\Core\Utils\Metadata;
use Espo\ORM\Entity;

/**
 * An IBAN: known country, its account format, check digits (ISO 13616). Blanks and small letters are fine.
 *
 * @implements Validator<Entity>
 */
class Valid implements Validator
{
    public function __construct(private Metadata $metadata) {}

    public function validate(Entity $entity, string $field, Data $data): ?Failure
    {
        $value = $entity->get($field);

        return $value === null || $this->isValid($value) ? null : Failure::create();
    }

    private function isValid(string $value): bool
    {
        $iban = strtoupper(preg_replace('/\s+/', '', $value) ?? '');

        if (!preg_match('/^([A-Z]{2})([0-9]{2})([A-Z0-9]+)$/D', $iban, $parts)) {
            return false;
        }

        [, $country, $checkDigits, $account] = $parts;

        $pattern = $this->metadata->get(['app', 'bitbylaw', 'bbanPattern', $country]);

        return $pattern !== null &&
            preg_match("/$pattern/D", $account) === 1 &&
            $this->remainder($account . $country . $checkDigits) === 1;
    }

    /**
     * The number modulo 97, with A = 10 to Z = 35, digit by digit because it is too long for an integer.
     */
    private function remainder(string $text): int
    {
        $remainder = 0;

        foreach (str_split($text) as $char) {
            $number = ctype_digit($char) ? $char : (string) (ord($char) - ord('A') + 10);

            foreach (str_split($number) as $digit) {
                $remainder = ($remainder * 10 + (int) $digit) % 97;
            }
        }

        return $remainder;
    }
}
