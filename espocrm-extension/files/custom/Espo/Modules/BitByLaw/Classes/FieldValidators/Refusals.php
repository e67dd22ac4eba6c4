<?php

namespace Espo\Modules\BitByLaw\Classes\FieldValidators;

use Espo\Core\Exceptions\BadRequest;
use Espo\Core\Exceptions\Error\Body;
use Espo\Core\FieldValidation\Validator\Data;
use Espo\Core\FieldValidation\Validator\Failure;
use Espo\Modules\BitByLaw\Classes\Sync\SyncUser;
use Espo\ORM\Entity;

/**
 * Says in a sentence why a value is refused, where EspoCRM's own message has only a field and the name of a check.
 *
 * The sentence is for people who save a form or use the API. An import lists EspoCRM's own failure beside the row, and
 * the sync reads it.
 */
class Refusals
{
    public function __construct(private SyncUser $syncUser) {}

    /**
     * @param string $message A label of the category "messages" of the entity type.
     * @param array<string, string> $values What stands in the sentence.
     * @throws BadRequest
     */
    public function refuse(
        Entity $entity,
        string $field,
        string $type,
        Data $data,
        string $message,
        array $values = []
    ): Failure {

        if (!$data->has($field) || $this->syncUser->isCurrent()) {
            return Failure::create();
        }

        $entityType = $entity->getEntityType();

        throw BadRequest::createWithBody(
            "Field validation failure; entityType: $entityType, field: $field, type: $type.",
            Body::create()->withMessageTranslation(
                $message,
                $entityType,
                [...$values, 'field' => $field, 'type' => $type]
            )
        );
    }
}
