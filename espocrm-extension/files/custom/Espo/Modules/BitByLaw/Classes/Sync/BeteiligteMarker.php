<?php

namespace Espo\Modules\BitByLaw\Classes\Sync;

use Espo\ORM\EntityManager;

/**
 * Makes a Beteiligter wait for the sync because one of its addresses or accounts has come, gone or moved.
 *
 * Such a change leaves no trace on the Beteiligter itself, so that the sync would not hear of it.
 */
class BeteiligteMarker
{
    public const LINK = 'beteiligte';

    private const ENTITY_TYPE = 'CBeteiligte';
    private const STATUS = 'syncStatus';
    private const PENDING = 'pending_sync';
    private const DIRTY = 'dirty';

    public function __construct(
        private EntityManager $entityManager,
        private SyncUser $syncUser
    ) {}

    public function mark(?string $id): void
    {
        if ($id === null || $this->syncUser->isCurrent()) {
            return;
        }

        $beteiligte = $this->entityManager->getEntityById(self::ENTITY_TYPE, $id);

        if ($beteiligte === null || in_array($beteiligte->get(self::STATUS), [self::PENDING, self::DIRTY], true)) {
            return;
        }

        $beteiligte->set(self::STATUS, self::DIRTY);

        $this->entityManager->saveEntity($beteiligte);
    }
}
