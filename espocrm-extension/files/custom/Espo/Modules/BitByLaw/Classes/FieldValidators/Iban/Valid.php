<?php

namespace Espo\Modules\BitByLaw\Classes\FieldValidators\Iban;

use Espo\Core\FieldValidation\Validator;
use Espo\Core\FieldValidation\Validator\Data;
use Espo\Core\FieldValidation\Validator\Failure;
use Espo\Core\Utils\Metadata;
use Espo\Modules\BitByLaw\Classes\FieldValidators\Refusals;
use Espo\ORM\Entity;

/**
 * An IBAN: known country, its account format, check digits (ISO 13616). Blanks and small letters are fine.
 *
 * @implements Validator<Entity>
 */
class Valid implements Validator
{
    public function __construct(
        private Metadata $metadata,
        private Refusals $refusals
    ) {}

    public function validate(Entity $entity, string $field, Data $data): ?Failure
    {
        $iban = strtoupper(preg_replace('/\s+/', '', $entity->get($field) ?? '') ?? '');
        $failed = $iban === '' ? null : $this->failedCheck($iban);

        if ($failed === null) {
            return null;
        }

        return $this->refusals->refuse($entity, $field, 'iban', $data, $failed, [
            'country' => substr($iban, 0, 2),
            'found' => (string) strlen($iban),
            'expected' => (string) $this->expectedLength(substr($iban, 0, 2)),
            'digits' => substr($iban, 2, 2),
        ]);
    }

    private function failedCheck(string $iban): ?string
    {
        if (!preg_match('/^([A-Z]{2})([0-9]{2})([A-Z0-9]*)$/D', $iban, $parts)) {
            return 'ibanStart';
        }

        [, $country, $checkDigits, $account] = $parts;

        $pattern = $this->accountPattern($country);

        if ($pattern === null) {
            return 'ibanCountry';
        }

        if (strlen($iban) !== $this->expectedLength($country)) {
            return 'ibanLength';
        }

        if (!preg_match("/$pattern/D", $account)) {
            return 'ibanFormat';
        }

        return $this->remainder($account . $country . $checkDigits) === 1 ? null : 'ibanCheckDigits';
    }

    private function accountPattern(string $country): ?string
    {
        return $this->metadata->get(['app', 'bitbylaw', 'bbanPattern', $country]);
    }

    /**
     * Country and check digits, and what the pattern of the account number adds up to.
     */
    private function expectedLength(string $country): int
    {
        preg_match_all('/{(\d+)}/', $this->accountPattern($country) ?? '', $lengths);

        return 4 + (int) array_sum($lengths[1]);
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
