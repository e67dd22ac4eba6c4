<?php

namespace Espo\Modules\BitByLaw\Classes\Write;

use Espo\Entities\EmailAddress;
use Espo\Entities\PhoneNumber;
use Espo\ORM\Entity;
use Espo\ORM\EntityManager;
use Espo\Repositories\EmailAddress as EmailAddressRepository;
use Espo\Repositories\PhoneNumber as PhoneNumberRepository;
use stdClass;

/**
 * Keeps what people have noted about a phone number or an e-mail address.
 *
 * EspoCRM has one row for a value, shared by all records that hold it, and its savers (PhoneNumber/Saver.php,
 * EmailAddress/Saver.php) overwrite the row with whatever is sent. Advoware knows nothing of "opted out" and "invalid",
 * so the sync never changes them; type and spelling are changed only where no other record shows them.
 */
class ContactRows
{
    public function __construct(private EntityManager $entityManager) {}

    /**
     * @param ?string $id The record that is written; null if it is new.
     */
    public function keepWhatIsShared(string $entityType, ?string $id, stdClass $attributes): void
    {
        foreach ($this->rows($attributes, 'phoneNumber') as $row) {
            $known = $this->phoneNumbers()->getByNumber(trim($row->phoneNumber));

            if ($known && $this->keepFlags($row, $known, 'phoneNumberId', $entityType, $id)) {
                $row->type = $known->get('type');
            }
        }

        foreach ($this->rows($attributes, 'emailAddress') as $row) {
            $known = $this->emailAddresses()->getByAddress(trim($row->emailAddress));

            if ($known && $this->keepFlags($row, $known, 'emailAddressId', $entityType, $id)) {
                $row->emailAddress = $known->get('name');
            }
        }
    }

    /**
     * @return stdClass[] Rows that hold a value; what is malformed is left to EspoCRM's validation.
     */
    private function rows(stdClass $attributes, string $field): array
    {
        $rows = $attributes->{$field . 'Data'} ?? null;

        return array_filter(
            is_array($rows) ? $rows : [],
            fn ($row) => $row instanceof stdClass && is_string($row->$field ?? null)
        );
    }

    /**
     * @return bool Whether another record holds the value, too.
     */
    private function keepFlags(stdClass $row, Entity $known, string $column, string $entityType, ?string $id): bool
    {
        $row->optOut = (bool) $known->get('optOut');
        $row->invalid = (bool) $known->get('invalid');

        $holders = $this->entityManager
            ->getRDBRepository('Entity' . $known->getEntityType())
            ->where([$column => $known->getId()])
            ->find();

        foreach ($holders as $holder) {
            [$type, $holderId] = [$holder->get('entityType'), $holder->get('entityId')];

            if ($type === $entityType && $holderId === $id) {
                continue;
            }

            // The row of a deleted record stays; it shows nothing to anybody.
            if ($this->entityManager->hasRepository($type) && $this->entityManager->getEntityById($type, $holderId)) {
                return true;
            }
        }

        return false;
    }

    private function phoneNumbers(): PhoneNumberRepository
    {
        /** @var PhoneNumberRepository */
        return $this->entityManager->getRepository(PhoneNumber::ENTITY_TYPE);
    }

    private function emailAddresses(): EmailAddressRepository
    {
        /** @var EmailAddressRepository */
        return $this->entityManager->getRepository(EmailAddress::ENTITY_TYPE);
    }
}
