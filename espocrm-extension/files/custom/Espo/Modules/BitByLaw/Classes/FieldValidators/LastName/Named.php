<?php

namespace Espo\Modules\BitByLaw\Classes\FieldValidators\LastName;

use Espo\Core\FieldValidation\Validator;
use Espo\Core\FieldValidation\Validator\Data;
use Espo\Core\FieldValidation\Validator\Failure;
use Espo\Modules\BitByLaw\Classes\FieldValidators\Refusals;
use Espo\Modules\BitByLaw\Classes\Sync\SyncUser;
use Espo\ORM\Entity;

/**
 * A Beteiligter is a person with a last name or a firm with its legal form.
 *
 * What Advoware calls by less is left as it is: the sync is not asked, and people only when they change one of the three.
 *
 * @implements Validator<Entity>
 */
class Named implements Validator
{
    private const FIRM = 'firmenname';
    private const LEGAL_FORM = 'rechtsform';

    public function __construct(
        private Refusals $refusals,
        private SyncUser $syncUser
    ) {}

    public function validate(Entity $entity, string $field, Data $data): ?Failure
    {
        if ($entity->get($field) || !$this->isChanged($entity, $field) || $this->syncUser->isCurrent()) {
            return null;
        }

        if ($entity->get(self::FIRM) && $entity->get(self::LEGAL_FORM)) {
            return null;
        }

        $message = $entity->get(self::FIRM) ? 'rechtsformMissing' : 'nameMissing';

        return $this->refusals->refuse($entity, $this->sent($field, $data), 'named', $data, $message);
    }

    /**
     * Which of the three the request has set.
     */
    private function sent(string $field, Data $data): string
    {
        foreach ([self::FIRM, self::LEGAL_FORM] as $other) {
            if (!$data->has($field) && $data->has($other)) {
                return $other;
            }
        }

        return $field;
    }

    private function isChanged(Entity $entity, string $field): bool
    {
        return $entity->isNew() ||
            $entity->isAttributeChanged($field) ||
            $entity->isAttributeChanged(self::FIRM) ||
            $entity->isAttributeChanged(self::LEGAL_FORM);
    }
}
