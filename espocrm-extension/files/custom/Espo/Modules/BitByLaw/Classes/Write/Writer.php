<?php

namespace Espo\Modules\BitByLaw\Classes\Write;

use Espo\Core\Exceptions\BadRequest;
use Espo\Core\Exceptions\Conflict;
use Espo\Core\Exceptions\Forbidden;
use Espo\Core\Exceptions\NotFound;
use Espo\Core\Record\CreateParams;
use Espo\Core\Record\ServiceContainer;
use Espo\Core\Record\UpdateParams;
use Espo\Core\Utils\Metadata;
use Espo\Entities\Note;
use Espo\ORM\Entity;
use Espo\ORM\EntityManager;
use PDOException;
use stdClass;

/**
 * Writes several records in one transaction: all or none.
 *
 * Each goes through EspoCRM's record service, as in an ordinary request: access control, validation, duplicate check,
 * optimistic concurrency, hooks. Records of the sync's own entities are saved silently, tasks and notes are not: people
 * shall be told of them.
 */
class Writer
{
    public const MAX_WRITES = 200;
    /** Stands in the post of a note for the id of what was written right before it. */
    public const PREVIOUS_ID = '{{previousId}}';
    private const ORDINARY = ['Task', 'Note'];
    private const DUPLICATE_KEY = '23000';
    /** Says nothing about whether a value has changed. */
    private const VOLATILE = ['versionNumber', 'modifiedAt', 'modifiedById', 'modifiedByName'];

    public function __construct(
        private EntityManager $entityManager,
        private ServiceContainer $services,
        private Metadata $metadata,
        private SilentSaves $silentSaves,
        private ContactRows $contactRows,
        private Answers $answers
    ) {}

    /**
     * @return string[]
     */
    public function getEntityTypes(): array
    {
        return [...$this->getSyncedEntityTypes(), ...self::ORDINARY];
    }

    /**
     * @param ?string $key The same key gives the same answer for a day, and writes nothing again.
     * @param array<int, mixed> $inputs
     * @return stdClass {results: [{id, entityType, changed, attributes}]}, in the order of the inputs.
     * @throws WriteFailed One was refused; nothing is written.
     * @throws BadRequest The key was used for another request.
     */
    public function run(?string $key, array $inputs): stdClass
    {
        $request = hash('sha256', (string) json_encode($inputs));

        if ($key === null) {
            return $this->writeAll($inputs);
        }

        try {
            return $this->answers->find($key, $request) ?? $this->writeAll($inputs, $key, $request);
        } catch (PDOException $e) {
            if ((string) $e->getCode() !== self::DUPLICATE_KEY) {
                throw $e;
            }

            // The same request was under way and has ended.
            return $this->answers->find($key, $request) ?? throw $e;
        }
    }

    /**
     * @param array<int, mixed> $inputs
     */
    private function writeAll(array $inputs, ?string $key = null, string $request = ''): stdClass
    {
        return $this->entityManager->getTransactionManager()->run(function () use ($inputs, $key, $request) {
            $reserved = $key === null ? null : $this->answers->reserve($key);
            $writes = [];

            foreach ($inputs as $index => $input) {
                $writes[] = $this->naming($index, fn () => Write::fromInput($input, $this->getEntityTypes()));
            }

            $this->lock($writes);

            $answer = (object) ['results' => []];

            $previousId = '';

            foreach ($writes as $index => $write) {
                $this->namePrevious($write, $previousId);
                $result = $this->naming($index, fn () => $this->write($write));
                $previousId = $result->id;
                $answer->results[] = $result;
            }

            if ($reserved) {
                $this->answers->keep($reserved, $request, $answer);
            }

            return $answer;
        });
    }

    private function namePrevious(Write $write, string $previousId): void
    {
        $post = $write->attributes->post ?? null;

        if ($write->entityType === Note::ENTITY_TYPE && is_string($post)) {
            $write->attributes->post = str_replace(self::PREVIOUS_ID, $previousId, $post);
        }
    }

    /**
     * @template T
     * @param callable(): T $function
     * @return T
     * @throws WriteFailed
     */
    private function naming(int $index, callable $function): mixed
    {
        try {
            return $function();
        } catch (BadRequest|Forbidden|NotFound|Conflict $e) {
            throw new WriteFailed($index, $e);
        }
    }

    /**
     * In a fixed order, so that two calls never wait for each other; before anything is read, so that what is read
     * is the newest.
     *
     * @param Write[] $writes
     */
    private function lock(array $writes): void
    {
        foreach ($this->getEntityTypes() as $entityType) {
            $ids = [];

            foreach ($writes as $write) {
                if ($write->entityType === $entityType && $write->id !== null) {
                    $ids[] = $write->id;
                }
            }

            if ($ids) {
                $this->entityManager
                    ->getRDBRepository($entityType)
                    ->forUpdate()
                    ->select(['id'])
                    ->where(['id' => $ids])
                    ->order('id')
                    ->find();
            }
        }
    }

    /**
     * @throws BadRequest
     * @throws Forbidden
     * @throws NotFound
     * @throws Conflict
     */
    private function write(Write $write): stdClass
    {
        if ($write->statusOnly) {
            $this->checkStatusOnly($write);
        }

        $before = $write->id === null ? null : $this->shown($write->entityType, $write->id);
        $entity = $this->isSilent($write) ?
            $this->silentSaves->during(fn () => $this->save($write)) :
            $this->save($write);
        $after = $this->shown($write->entityType, $entity->getId());

        return (object) [
            'id' => $entity->getId(),
            'entityType' => $write->entityType,
            'changed' => $this->values($before) !== $this->values($after),
            'attributes' => $after,
        ];
    }

    private function save(Write $write): Entity
    {
        $service = $this->services->get($write->entityType);

        if ($this->isSilent($write)) {
            $this->contactRows->keepWhatIsShared($write->entityType, $write->id, $write->attributes);
        }

        if ($write->id === null) {
            return $service->create(
                $write->attributes,
                CreateParams::create()->withSkipDuplicateCheck($write->skipDuplicateCheck)
            );
        }

        return $service->update(
            $write->id,
            $write->attributes,
            UpdateParams::create()
                ->withVersionNumber($write->version)
                ->withSkipDuplicateCheck($write->skipDuplicateCheck)
        );
    }

    /**
     * As a GET shows the record; null if there is none.
     */
    private function shown(string $entityType, string $id): ?stdClass
    {
        return $this->services->get($entityType)->getEntity($id)?->getValueMap();
    }

    private function values(?stdClass $shown): ?string
    {
        if (!$shown) {
            return null;
        }

        return (string) json_encode(array_diff_key(get_object_vars($shown), array_flip(self::VOLATILE)));
    }

    private function isSilent(Write $write): bool
    {
        return in_array($write->entityType, $this->getSyncedEntityTypes(), true);
    }

    /**
     * @throws BadRequest
     */
    private function checkStatusOnly(Write $write): void
    {
        $status = $this->metadata->get(['app', 'bitbylaw', 'statusAttributes', $write->entityType]) ?? [];
        $others = array_diff(array_keys(get_object_vars($write->attributes)), $status);

        if ($others) {
            throw new BadRequest("statusOnly: not for " . implode(', ', $others) . ".");
        }
    }

    /**
     * @return string[]
     */
    private function getSyncedEntityTypes(): array
    {
        return array_keys($this->metadata->get(['app', 'bitbylaw', 'statusAttributes']) ?? []);
    }
}
