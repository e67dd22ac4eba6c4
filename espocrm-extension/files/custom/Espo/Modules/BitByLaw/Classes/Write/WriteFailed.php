<?php

namespace Espo\Modules\BitByLaw\Classes\Write;

use Espo\Core\Exceptions\HasBody;
use Espo\Core\Exceptions\HasLogMessage;
use Exception;
use stdClass;
use Throwable;

/**
 * EspoCRM has refused one of the writes, so none was done.
 */
class WriteFailed extends Exception
{
    public function __construct(public readonly int $index, private Throwable $cause)
    {
        parent::__construct($cause->getMessage(), $cause->getCode(), $cause);
    }

    /**
     * What EspoCRM says in X-Status-Reason when it refuses the same in an ordinary request.
     */
    public function getReason(): string
    {
        return $this->cause instanceof HasLogMessage ? $this->cause->getLogMessage() : $this->cause->getMessage();
    }

    /**
     * EspoCRM's own body, and which write is concerned. Duplicates, which EspoCRM gives as a list, get a name.
     */
    public function getBody(): stdClass
    {
        $own = $this->cause instanceof HasBody ? json_decode($this->cause->getBody() ?? 'null') : null;

        $body = match (true) {
            $own instanceof stdClass => $own,
            is_array($own) => (object) ['duplicates' => $own],
            default => (object) [],
        };

        $body->index = $this->index;

        return $body;
    }
}
