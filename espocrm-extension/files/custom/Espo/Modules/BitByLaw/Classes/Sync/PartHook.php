<?php

namespace Espo\Modules\BitByLaw\Classes\Sync;

use Espo\Core\Hook\Hook\AfterRelate;
use Espo\Core\Hook\Hook\AfterRemove;
use Espo\Core\Hook\Hook\AfterSave;
use Espo\Core\Hook\Hook\AfterUnrelate;
use Espo\ORM\BaseEntity;
use Espo\ORM\Entity;
use Espo\ORM\Repository\Option\RelateOptions;
use Espo\ORM\Repository\Option\RemoveOptions;
use Espo\ORM\Repository\Option\SaveOptions;
use Espo\ORM\Repository\Option\UnrelateOptions;

/**
 * An address or account that goes, comes back or moves to another Beteiligter makes the Beteiligte concerned wait for the
 * sync.
 *
 * @implements AfterSave<BaseEntity>
 * @implements AfterRemove<BaseEntity>
 * @implements AfterRelate<BaseEntity>
 * @implements AfterUnrelate<BaseEntity>
 */
abstract class PartHook implements AfterSave, AfterRemove, AfterRelate, AfterUnrelate
{
    private const OWNER_ID = BeteiligteMarker::LINK . 'Id';

    public function __construct(private BeteiligteMarker $marker) {}

    public function afterSave(Entity $entity, SaveOptions $options): void
    {
        $isRestored = (bool) $options->get(Restored::OPTION);

        if ($entity->isNew() || (!$isRestored && !$entity->isAttributeChanged(self::OWNER_ID))) {
            return;
        }

        $this->marker->mark($entity->getFetched(self::OWNER_ID));
        $this->marker->mark($entity->get(self::OWNER_ID));
    }

    public function afterRemove(Entity $entity, RemoveOptions $options): void
    {
        $this->marker->mark($entity->get(self::OWNER_ID));
    }

    /**
     * @param array<string, mixed> $columnData
     */
    public function afterRelate(
        Entity $entity,
        string $relationName,
        Entity $relatedEntity,
        array $columnData,
        RelateOptions $options
    ): void {

        if ($relationName === BeteiligteMarker::LINK) {
            $this->marker->mark($relatedEntity->getId());
        }
    }

    public function afterUnrelate(
        Entity $entity,
        string $relationName,
        Entity $relatedEntity,
        UnrelateOptions $options
    ): void {

        if ($relationName === BeteiligteMarker::LINK) {
            $this->marker->mark($relatedEntity->getId());
        }
    }
}
