<?php

namespace Espo\Modules\BitByLaw\Classes\Actions;

use Espo\Core\Action\Action;
use Espo\Core\Action\Actions\Merge as CoreMerge;
use Espo\Core\Action\Data;
use Espo\Core\Action\Params;
use Espo\Modules\BitByLaw\Classes\Sync\MergedRecords;
use Espo\ORM\EntityManager;

/**
 * EspoCRM's own merge, after which the survivor knows whose records it has taken in.
 *
 * Without that the sync would see nothing but deleted records. All or nothing, so that it never finds half of it.
 */
class Merge implements Action
{
    public function __construct(
        private CoreMerge $merge,
        private MergedRecords $mergedRecords,
        private EntityManager $entityManager
    ) {}

    public function process(Params $params, Data $data): void
    {
        $this->entityManager->getTransactionManager()->run(function () use ($params, $data): void {
            $sourceIds = $data->get('sourceIdList');
            $seen = $this->mergedRecords->look([$params->getId(), ...(is_array($sourceIds) ? $sourceIds : [])]);

            $this->merge->process($params, $data);

            $this->mergedRecords->handOver($params->getId(), $seen);
        });
    }
}
