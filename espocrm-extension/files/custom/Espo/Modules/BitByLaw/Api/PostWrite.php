<?php

namespace Espo\Modules\BitByLaw\Api;

use Espo\Core\Api\Action;
use Espo\Core\Api\Request;
use Espo\Core\Api\Response;
use Espo\Core\Api\ResponseComposer;
use Espo\Core\Exceptions\BadRequest;
use Espo\Core\Exceptions\Forbidden;
use Espo\Modules\BitByLaw\Classes\Sync\SyncUser;
use Espo\Modules\BitByLaw\Classes\Write\WriteFailed;
use Espo\Modules\BitByLaw\Classes\Write\Writer;
use stdClass;

/**
 * POST BitByLaw/write: what the sync writes about a record, in one call. See docs/espocrm.md.
 */
class PostWrite implements Action
{
    private const MAX_KEY_LENGTH = 255;

    public function __construct(
        private SyncUser $syncUser,
        private Writer $writer
    ) {}

    public function process(Request $request): Response
    {
        if (!$this->syncUser->isCurrent()) {
            throw new Forbidden("Only for API users with the role of the sync.");
        }

        $body = $request->getParsedBody();

        try {
            return ResponseComposer::json($this->writer->run($this->key($body), $this->writes($body)));
        } catch (WriteFailed $e) {
            return ResponseComposer::json($e->getBody())
                ->setStatus($e->getCode())
                ->setHeader('X-Status-Reason', (string) preg_replace('/[^ \t\x21-\x7E\x80-\xFF]/', ' ', $e->getReason()));
        }
    }

    /**
     * @throws BadRequest
     */
    private function key(stdClass $body): ?string
    {
        $key = $body->key ?? null;

        if ($key !== null && (!is_string($key) || $key === '' || strlen($key) > self::MAX_KEY_LENGTH)) {
            throw new BadRequest("key: expected a text of at most " . self::MAX_KEY_LENGTH . " bytes.");
        }

        return $key;
    }

    /**
     * @return array<int, mixed>
     * @throws BadRequest
     */
    private function writes(stdClass $body): array
    {
        $writes = $body->writes ?? null;

        if (!is_array($writes) || $writes === [] || count($writes) > Writer::MAX_WRITES) {
            throw new BadRequest("writes: expected a list of 1 to " . Writer::MAX_WRITES . ".");
        }

        return $writes;
    }
}
