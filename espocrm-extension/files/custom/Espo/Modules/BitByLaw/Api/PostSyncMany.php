<?php

namespace Espo\Modules\BitByLaw\Api;

use Espo\Core\Acl;
use Espo\Core\Api\Action;
use Espo\Core\Api\Request;
use Espo\Core\Api\Response;
use Espo\Core\Exceptions\BadRequest;
use Espo\Core\Exceptions\Forbidden;
use Espo\Modules\BitByLaw\Classes\Actions\BitByLaw;
use Espo\ORM\EntityManager;

/**
 * POST BitByLaw/CBeteiligte/sync: the mass action "sync now" for up to 200 records, of which the user may edit some.
 *
 * Answers how many are synced (`count`) and how many are not, because they are gone or he may not edit them (`skipped`).
 */
class PostSyncMany implements Action
{
    private const ENTITY_TYPE = 'CBeteiligte';
    private const MAX_IDS = 200;

    public function __construct(
        private Acl $acl,
        private EntityManager $entityManager,
        private BitByLaw $bitByLaw
    ) {}

    public function process(Request $request): Response
    {
        $asked = $request->getParsedBody()->ids ?? null;

        if (!is_array($asked) || $asked === [] || count($asked) > self::MAX_IDS) {
            throw new BadRequest("ids: expected a list of 1 to " . self::MAX_IDS . ".");
        }

        $asked = array_values(array_unique(array_filter($asked, 'is_string')));
        $records = $this->entityManager->getRDBRepository(self::ENTITY_TYPE)->where(['id' => $asked])->find();
        $ids = [];

        foreach ($records as $record) {
            if ($this->acl->checkEntityEdit($record)) {
                $ids[] = $record->getId();
            }
        }

        if ($ids === []) {
            throw new Forbidden("No edit access.");
        }

        $answer = $this->bitByLaw->post('sync', (object) ['ids' => $ids]);

        return $answer->with('skipped', count($asked) - count($ids))->toResponse();
    }
}
