<?php

namespace Espo\Modules\BitByLaw\Hooks\CBeteiligte;

use Espo\Core\Hook\Hook\AfterRelate;
use Espo\Core\Hook\Hook\AfterUnrelate;
use Espo\Modules\BitByLaw\Classes\Sync\BeteiligteMarker;
use Espo\ORM\Entity;
use Espo\ORM\Repository\Option\RelateOptions;
use Espo\ORM\Repository\Option\UnrelateOptions;

/**
 * A Beteiligter that gets or loses an address or account in its panel waits for the sync, and so does the one that had
 * it before: EspoCRM does not save the address or account itself then.
 *
 * @implements AfterRelate<Entity>
 * @implements AfterUnrelate<Entity>
 */
class Parts implements AfterRelate, AfterUnrelate
{
    private const LINKS = ['adressen', 'bankverbindungen'];
    private const OWNER_ID = BeteiligteMarker::LINK . 'Id';

    public function __construct(private BeteiligteMarker $marker) {}

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

        if (!in_array($relationName, self::LINKS, true)) {
            return;
        }

        $this->marker->mark($entity->getId());
        $this->marker->mark($relatedEntity->get(self::OWNER_ID));
    }

    public function afterUnrelate(
        Entity $entity,
        string $relationName,
        Entity $relatedEntity,
        UnrelateOptions $options
    ): void {

        if (in_array($relationName, self::LINKS, true)) {
            $this->marker->mark($entity->getId());
        }
    }
}
