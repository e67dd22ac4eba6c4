<?php

namespace Espo\Modules\BitByLaw\Classes\Write;

use Espo\Core\Exceptions\BadRequest;
use stdClass;

/**
 * One record to write, as the sync has sent it.
 */
class Write
{
    public const UPDATE = 'update';
    public const CREATE = 'create';

    private function __construct(
        public readonly string $op,
        public readonly string $entityType,
        public readonly ?string $id,
        public readonly stdClass $attributes,
        public readonly ?int $version,
        public readonly bool $statusOnly,
        public readonly bool $skipDuplicateCheck
    ) {}

    /**
     * @param string[] $entityTypes What may be written.
     * @throws BadRequest
     */
    public static function fromInput(mixed $input, array $entityTypes): self
    {
        if (!$input instanceof stdClass) {
            throw new BadRequest("A write is no object.");
        }

        $op = $input->op ?? null;
        $entityType = $input->entityType ?? null;
        $id = $input->id ?? null;
        $attributes = $input->attributes ?? null;
        $version = $input->version ?? null;

        if ($op !== self::UPDATE && $op !== self::CREATE) {
            throw new BadRequest("op: expected update or create.");
        }

        if (!in_array($entityType, $entityTypes, true)) {
            throw new BadRequest("entityType: expected one of " . implode(', ', $entityTypes) . ".");
        }

        if ($op === self::UPDATE ? !is_string($id) || $id === '' : $id !== null) {
            throw new BadRequest("id: required to update, not allowed to create.");
        }

        if (!$attributes instanceof stdClass) {
            throw new BadRequest("attributes: expected an object.");
        }

        if ($version !== null && !is_int($version)) {
            throw new BadRequest("version: expected a whole number.");
        }

        return new self(
            $op,
            $entityType,
            $id,
            $attributes,
            $version,
            ($input->statusOnly ?? false) === true,
            ($input->skipDuplicateCheck ?? false) === true
        );
    }
}
