<?php

namespace Espo\Modules\BitByLaw\Classes\Sync;

use Espo\Core\Hook\Hook\BeforeSave;
use Espo\Core\Utils\Metadata;
use Espo\ORM\BaseEntity;
use Espo\ORM\Entity;
use Espo\ORM\Repository\Option\SaveOptions;

/**
 * A save that changes nothing but fields of the sync leaves the version as it is.
 *
 * EspoCRM counts every save (optimistic concurrency); a form that a person has open would meet a conflict although
 * nobody has touched a value of it.
 *
 * @implements BeforeSave<Entity>
 */
abstract class KeepVersion implements BeforeSave
{
    /** After EspoCRM's own hook, which counts. */
    public static int $order = 50;

    private const VERSION = 'versionNumber';
    private const VOLATILE = ['modifiedAt', 'modifiedById', 'modifiedByName', self::VERSION];

    public function __construct(private Metadata $metadata) {}

    public function beforeSave(Entity $entity, SaveOptions $options): void
    {
        if (!$entity instanceof BaseEntity || $entity->isNew() || !$entity->hasFetched(self::VERSION) || $this->isValueChanged($entity)) {
            return;
        }

        $entity->set(self::VERSION, $entity->getFetched(self::VERSION));
    }

    private function isValueChanged(BaseEntity $entity): bool
    {
        $type = $entity->getEntityType();
        $status = $this->metadata->get(['app', 'bitbylaw', 'statusAttributes', $type]) ?? [];
        $synced = $this->metadata->get(['app', 'bitbylaw', 'synced', $type, 'attributes']) ?? [];

        foreach (array_diff($entity->getAttributeList(), $status, self::VOLATILE) as $attribute) {
            if (!$entity->isAttributeChanged($attribute)) {
                continue;
            }

            // What EspoCRM has only computed to show it, such as isFollowed, looks like a change.
            if (
                $entity->hasFetched($attribute) ||
                in_array($attribute, $synced, true) ||
                $entity->getAttributeParam($attribute, 'notStorable') !== true
            ) {
                return true;
            }
        }

        return false;
    }
}
