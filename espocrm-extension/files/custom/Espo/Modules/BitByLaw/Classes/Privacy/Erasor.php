<?php

namespace Espo\Modules\BitByLaw\Classes\Privacy;

use Espo\Core\Acl\Table;
use Espo\Core\Exceptions\Forbidden;
use Espo\Core\FieldProcessing\EmailAddress\AccessChecker as EmailAccess;
use Espo\Core\FieldProcessing\PhoneNumber\AccessChecker as PhoneAccess;
use Espo\Core\Record\ServiceContainer;
use Espo\Core\Utils\Metadata;
use Espo\Entities\EmailAddress;
use Espo\Entities\PhoneNumber;
use Espo\Modules\BitByLaw\Classes\Sync\ErasedHook;
use Espo\ORM\Entity;
use Espo\Tools\DataPrivacy\Erasor as CoreErasor;

/**
 * EspoCRM's own erasure of personal data, which notes for the sync what it has emptied.
 *
 * An emptied field would otherwise be taken for an edit, and would be emptied in Advoware too, where the firm's duties to
 * keep records hold; or Advoware's value would come back. All or nothing, so that the sync never finds half of it.
 *
 * Numbers and mail addresses are made unreadable here, to the same result, because EspoCRM 9.1 stops at the first one.
 */
class Erasor extends CoreErasor
{
    private const ADDRESS = 'CAdressen';
    private const MADE_OF_ADDRESS = ['name', 'bezeichnung'];
    /** type of a field => link to its rows */
    private const ROWS = ['email' => 'emailAddresses', 'phone' => 'phoneNumbers'];

    public function __construct(
        ServiceContainer $serviceContainer,
        private EmailAccess $emailAccess,
        private PhoneAccess $phoneAccess
    ) {
        parent::__construct($serviceContainer, $emailAccess, $phoneAccess);
    }

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
            $others = [];

            foreach ($fieldList as $field) {
                $link = self::ROWS[$this->getType($entityType, $field)] ?? null;

                if ($link === null) {
                    $others[] = $field;
                } else if ($before !== null) {
                    $this->eraseRows($before, $field, $link);
                }
            }

            // Says no to whoever may not erase, which takes the rows back as well.
            parent::erase($entityType, $id, $others);

            $after = $this->entityManager->getEntityById($entityType, $id);

            if ($before === null || $after === null) {
                return;
            }

            $this->note($before, $after, $fieldList);

            // Rows are no attributes of the record: nothing else tells the sync that there is something to look at.
            if ($others !== $fieldList && $after->get('betnr') !== null) {
                $after->set('syncStatus', 'dirty');

                $this->entityManager->saveEntity($after);
            }
        });
    }

    /**
     * A row that also belongs to a record which the user may not edit stays, as in EspoCRM.
     *
     * @throws Forbidden
     */
    private function eraseRows(Entity $entity, string $field, string $link): void
    {
        $entityType = $entity->getEntityType();

        if (in_array($field, $this->acl->getScopeForbiddenFieldList($entityType, Table::ACTION_EDIT), true)) {
            throw new Forbidden("No edit access to $field.");
        }

        $rows = $this->entityManager->getRDBRepository($entityType)->getRelation($entity, $link)->find();

        foreach ($rows as $row) {
            $mayEdit = match (true) {
                $row instanceof EmailAddress => $this->emailAccess->checkEdit($this->user, $row, $entity),
                $row instanceof PhoneNumber => $this->phoneAccess->checkEdit($this->user, $row, $entity),
                default => false,
            };

            if ($mayEdit) {
                $row->set('name', 'ERASED:' . $row->getId());
                $row->set($row instanceof EmailAddress ? ['optOut' => true] : []);

                $this->entityManager->saveEntity($row);
            }
        }
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
        return $this->getMetadata()->get(['app', 'bitbylaw', 'statusAttributes', $entityType]) !== null;
    }

    private function getType(string $entityType, string $field): string
    {
        return (string) $this->getMetadata()->get(['entityDefs', $entityType, 'fields', $field, 'type']);
    }

    private function getMetadata(): Metadata
    {
        /** @var Metadata $metadata */
        $metadata = $this->metadata;

        return $metadata;
    }
}
