<?php

namespace Espo\Modules\BitByLaw\Classes\Actions;

use Espo\Core\Api\Response;
use Espo\Core\Api\ResponseComposer;
use stdClass;

/**
 * What BitByLaw has answered, or why it has not: a body with a word for the dialog (`reason`) unless the status is 200.
 */
class Answer
{
    public function __construct(
        private int $status,
        private stdClass $body
    ) {}

    public static function failed(string $reason, int $status = 503): self
    {
        return new self($status, (object) ['reason' => $reason]);
    }

    public function isSuccess(): bool
    {
        return $this->status === 200;
    }

    public function get(string $name): mixed
    {
        return $this->body->$name ?? null;
    }

    public function with(string $name, mixed $value): self
    {
        return new self($this->status, (object) array_merge((array) $this->body, [$name => $value]));
    }

    public function toResponse(): Response
    {
        return ResponseComposer::json($this->body)->setStatus($this->status);
    }
}
