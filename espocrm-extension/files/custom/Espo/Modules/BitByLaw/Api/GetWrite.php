<?php

namespace Espo\Modules\BitByLaw\Api;

use Espo\Core\Api\Action;
use Espo\Core\Api\Request;
use Espo\Core\Api\Response;
use Espo\Core\Api\ResponseComposer;
use Espo\Core\Exceptions\Forbidden;
use Espo\Core\Utils\Metadata;
use Espo\Modules\BitByLaw\Classes\Sync\SyncUser;
use Espo\Modules\BitByLaw\Classes\Write\Answers;
use Espo\Modules\BitByLaw\Classes\Write\Writer;

/**
 * GET BitByLaw/write: what the write action offers, so that the sync can decide once whether to use it.
 */
class GetWrite implements Action
{
    public function __construct(
        private Metadata $metadata,
        private SyncUser $syncUser,
        private Writer $writer
    ) {}

    public function process(Request $request): Response
    {
        if (!$this->syncUser->isCurrent()) {
            throw new Forbidden("Only for API users with the role of the sync.");
        }

        return ResponseComposer::json([
            'version' => $this->metadata->get(['app', 'bitbylaw', 'version']),
            'entityTypes' => $this->writer->getEntityTypes(),
            'maxWrites' => Writer::MAX_WRITES,
            'previousId' => Writer::PREVIOUS_ID,
            'keyHours' => Answers::KEPT_HOURS,
        ]);
    }
}
