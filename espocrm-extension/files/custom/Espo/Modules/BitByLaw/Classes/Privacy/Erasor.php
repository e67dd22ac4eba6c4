<?php

namespace Espo\Modules\BitByLaw\Classes\Privacy;

use Espo\Core\Utils\Metadata;
use Espo\Modules\BitByLaw\Classes\Sync\ErasedHook;
use Espo\ORM\Entity;
use Espo\Tools\DataPrivacy\Erasor as CoreErasor;

/**
 * EspoCRM's own erasure of personal data, which notes for the sync what it has emptied.
 *
 * An emptied field would otherwise be taken for an edit, and would be emptied in Advoware too, where the firm's duties to
 * keep records hold; or Advoware's value would come back. All or nothing, so that the sync never finds half of it.
 */
class Erasor extends CoreErasor
{
    private const ADDRESS = 'CAdressen';
    private const MADE_OF_ADDRESS = ['name', 'bezeichnung'];

    /**
     * @param string[] $fieldList
     */
    public function erase(string $entityType, string $id, array $fieldList): void
    {
        if (!$this->isSynced($entityType)) {
            parent::erase($entityType, $id, $fieldList);

            return;
        }

        $this->entityManager->getTransactionManager()->run(function () use ($entityType, $id, $fieldList): void {
            $before = $this->entityManager->getEntityById($entityType, $id);

            parent::erase($entityType, $id, $fieldList);

            $after = $this->entityManager->getEntityById($entityType, $id);

            if ($before !== null && $after !== null) {
                $this->note($before, $after, $fieldList);
            }
        });
    }

    /**
     * @param string[] $fieldList
     */
    private function note(Entity $before, Entity $after, array $fieldList): void
    {
        $attributes = [];

        foreach ($fieldList as $field) {
            $attributes = [...$attributes, ...$this->fieldUtil->getActualAttributeList($before->getEntityType(), $field)];
        }

        // People see an address called by street and place in lists and links.
        if ($before->getEntityType() === self::ADDRESS && in_array('adresse', $fieldList, true)) {
            $after->set(array_fill_keys(self::MADE_OF_ADDRESS, null));
            $attributes = [...$attributes, ...self::MADE_OF_ADDRESS];
        }

        $emptied = array_filter(
            $attributes,
            fn (string $attribute) => $before->hasAttribute($attribute) &&
                ($before->get($attribute) ?? '') !== '' &&
                ($after->get($attribute) ?? '') === ''
        );

        if ($emptied === []) {
            return;
        }

        $names = ErasedHook::names($after);

        $after->set(ErasedHook::ATTRIBUTE, implode(' ', array_unique([...$names, ...$emptied])));

        $this->entityManager->saveEntity($after);
    }

    private function isSynced(string $entityType): bool
    {
        /** @var Metadata $metadata */
        $metadata = $this->metadata;

        return $metadata->get(['app', 'bitbylaw', 'statusAttributes', $entityType]) !== null;
    }
}
