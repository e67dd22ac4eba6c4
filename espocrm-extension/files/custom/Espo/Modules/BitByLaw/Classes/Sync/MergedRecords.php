<?php

namespace Espo\Modules\BitByLaw\Classes\Sync;

use Espo\ORM\Entity;
use Espo\ORM\EntityManager;

/**
 * What the survivor of a merge keeps of the records that were merged into it: their ids, and the number in Advoware of
 * one of them if it has none itself, or if its own is gone from Advoware.
 *
 * The ids tell the sync that these records were not deleted. Numbers that are left over it tells a person.
 */
class MergedRecords
{
    private const ENTITY_TYPE = 'CBeteiligte';
    private const IDS = 'mergedIds';
    private const NUMBER = 'betnr';
    private const STATUS = 'syncStatus';
    private const DIRTY = 'dirty';
    private const GONE = 'deleted_in_advoware';

    public function __construct(private EntityManager $entityManager) {}

    /**
     * The records as they are before the merge, which deletes the sources and changes the status of the survivor.
     *
     * @param mixed[] $ids
     * @return array<string, array{number: ?int, mergedIds: string[]}> By id; those that are not there are left out.
     */
    public function look(array $ids): array
    {
        $seen = [];

        foreach (array_filter($ids, 'is_string') as $id) {
            $entity = $this->entityManager->getEntityById(self::ENTITY_TYPE, $id);

            if ($entity !== null) {
                $seen[$id] = ['number' => $this->numberInAdvoware($entity), 'mergedIds' => $this->mergedIds($entity)];
            }
        }

        return $seen;
    }

    /**
     * @param array<string, array{number: ?int, mergedIds: string[]}> $seen Survivor and sources before the merge.
     */
    public function handOver(string $survivorId, array $seen): void
    {
        $survivor = $this->entityManager->getEntityById(self::ENTITY_TYPE, $survivorId);

        if ($survivor === null) {
            return;
        }

        $ids = [];

        foreach ($seen as $id => $one) {
            $ids = [...$ids, (string) $id, ...$one['mergedIds']];
        }

        $survivor->set(self::IDS, implode(' ', array_diff(array_unique($ids), [$survivorId])));

        $numbers = array_filter(array_column($seen, 'number'));

        if (($seen[$survivorId]['number'] ?? null) === null && $numbers !== []) {
            $survivor->set(self::NUMBER, reset($numbers));
        }

        if ($survivor->get(self::NUMBER) !== null) {
            $survivor->set(self::STATUS, self::DIRTY);
        }

        $this->entityManager->saveEntity($survivor);
    }

    private function numberInAdvoware(Entity $entity): ?int
    {
        return $entity->get(self::STATUS) === self::GONE ? null : $entity->get(self::NUMBER);
    }

    /**
     * @return string[]
     */
    private function mergedIds(Entity $entity): array
    {
        return array_values(array_filter(explode(' ', (string) $entity->get(self::IDS))));
    }
}
