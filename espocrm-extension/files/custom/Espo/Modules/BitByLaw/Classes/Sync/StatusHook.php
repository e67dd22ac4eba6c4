<?php

namespace Espo\Modules\BitByLaw\Classes\Sync;

use Espo\Core\Hook\Hook\BeforeSave;
use Espo\Core\Utils\Metadata;
use Espo\ORM\Entity;
use Espo\ORM\Repository\Option\SaveOptions;

/**
 * Marks what waits for the sync: new records as pending_sync, records that a person has changed or restored as dirty.
 *
 * The integration finds its work by these two statuses when a webhook was lost, so they are set here, on the server,
 * whichever way the record is saved: form, import, mass update, API or workflow.
 *
 * @implements BeforeSave<Entity>
 */
abstract class StatusHook implements BeforeSave
{
    private const STATUS = 'syncStatus';
    private const PENDING = 'pending_sync';
    private const DIRTY = 'dirty';

    public function __construct(
        private Metadata $metadata,
        private SyncUser $syncUser
    ) {}

    public function beforeSave(Entity $entity, SaveOptions $options): void
    {
        if ($entity->isNew()) {
            if (!$entity->get(self::STATUS)) {
                $entity->set(self::STATUS, self::PENDING);
            }

            return;
        }

        // Whoever sets a status means it: the integration when it is done, an administrator who repairs something.
        if ($entity->isAttributeChanged(self::STATUS)) {
            return;
        }

        if ($this->waitsForCreation($entity) || $this->syncUser->isCurrent()) {
            return;
        }

        if (!$this->isSyncedValueChanged($entity) && !$options->get(Restored::OPTION)) {
            return;
        }

        $entity->set(self::STATUS, self::DIRTY);
    }

    private function isSyncedValueChanged(Entity $entity): bool
    {
        /** @var string[] $attributes */
        $attributes = $this->synced($entity, 'attributes') ?? [];

        foreach ($attributes as $attribute) {
            if ($entity->isAttributeChanged($attribute)) {
                return true;
            }
        }

        return false;
    }

    /**
     * A record that Advoware does not know yet stays pending_sync: it will be created there as it then is.
     */
    private function waitsForCreation(Entity $entity): bool
    {
        return $entity->get(self::STATUS) === self::PENDING &&
            $entity->get($this->synced($entity, 'idAttribute')) === null;
    }

    private function synced(Entity $entity, string $key): mixed
    {
        return $this->metadata->get(['app', 'bitbylaw', 'synced', $entity->getEntityType(), $key]);
    }
}
