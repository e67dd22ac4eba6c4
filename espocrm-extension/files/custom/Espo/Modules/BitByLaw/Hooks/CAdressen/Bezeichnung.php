<?php

namespace Espo\Modules\BitByLaw\Hooks\CAdressen;

use Espo\Core\Hook\Hook\BeforeSave;
use Espo\ORM\Entity;
use Espo\ORM\Repository\Option\SaveOptions;

/**
 * Keeps "name" (what EspoCRM shows) and "bezeichnung" (what the integration writes) the same value.
 *
 * @implements BeforeSave<Entity>
 */
class Bezeichnung implements BeforeSave
{
    public function beforeSave(Entity $entity, SaveOptions $options): void
    {
        if ($entity->isAttributeChanged('bezeichnung')) {
            $entity->set('name', $entity->get('bezeichnung'));
        } elseif ($entity->isAttributeChanged('name')) {
            $entity->set('bezeichnung', $entity->get('name'));
        }
    }
}
