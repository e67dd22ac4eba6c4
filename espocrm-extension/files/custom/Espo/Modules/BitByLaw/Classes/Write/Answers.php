<?php

namespace Espo\Modules\BitByLaw\Classes\Write;

use Espo\Core\Exceptions\BadRequest;
use Espo\Core\Field\DateTime;
use Espo\Entities\UniqueId;
use Espo\Entities\User;
use Espo\ORM\EntityManager;
use stdClass;

/**
 * The answers that were given, by the key of the request, so that a repeated request writes nothing.
 *
 * Kept in EspoCRM's own UniqueId, whose rows its job "Cleanup" removes when their time is over.
 */
class Answers
{
    public const KEPT_HOURS = 24;
    private const ID_LENGTH = 17;

    public function __construct(
        private EntityManager $entityManager,
        private User $user
    ) {}

    /**
     * The answer to an earlier request with this key; null if there was none.
     *
     * @param string $request A digest of what is asked for.
     * @throws BadRequest The key was used for something else.
     */
    public function find(string $key, string $request): ?stdClass
    {
        $record = $this->entityManager->getRDBRepositoryByClass(UniqueId::class)->getById($this->id($key));

        if (!$record || $record->getTerminateAt()?->isLessThan(DateTime::createNow())) {
            return null;
        }

        $data = $record->getData();

        if ($data->request !== $request) {
            throw new BadRequest("key: was used for another request.");
        }

        return $data->answer ?? null;
    }

    /**
     * Take the key, within the transaction that does the writes. Another request with the same key waits here until
     * that transaction ends; if it was committed, this one fails with SQL state 23000.
     */
    public function reserve(string $key): UniqueId
    {
        $id = $this->id($key);

        $expired = $this->entityManager->getQueryBuilder()
            ->delete()
            ->from(UniqueId::ENTITY_TYPE)
            ->where(['id' => $id, 'terminateAt<' => DateTime::createNow()->toString()])
            ->build();

        $this->entityManager->getQueryExecutor()->execute($expired);

        $record = $this->entityManager->getRDBRepositoryByClass(UniqueId::class)->getNew();
        $record->setMultiple(['id' => $id, 'name' => "bitbylaw-$id"]);
        $record->setTerminateAt(DateTime::createNow()->addHours(self::KEPT_HOURS));

        $this->entityManager->saveEntity($record);

        return $record;
    }

    public function keep(UniqueId $record, string $request, stdClass $answer): void
    {
        $record->setData(['request' => $request, 'answer' => $answer]);

        $this->entityManager->saveEntity($record);
    }

    private function id(string $key): string
    {
        return substr(hash('sha256', $this->user->getId() . ' ' . $key), 0, self::ID_LENGTH);
    }
}
