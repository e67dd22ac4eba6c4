<?php

namespace Espo\Modules\BitByLaw\Classes\Sync;

use Espo\Core\Hook\Hook\BeforeSave;
use Espo\ORM\Entity;
use Espo\ORM\Repository\Option\SaveOptions;

/**
 * What was erased is no longer erased as soon as a person has entered it again.
 *
 * @implements BeforeSave<Entity>
 */
abstract class ErasedHook implements BeforeSave
{
    public const ATTRIBUTE = 'erasedFields';

    public function beforeSave(Entity $entity, SaveOptions $options): void
    {
        $names = self::names($entity);

        if ($names === []) {
            return;
        }

        $empty = array_filter($names, fn (string $name) => ($entity->get($name) ?? '') === '');

        $entity->set(self::ATTRIBUTE, implode(' ', $empty) ?: null);
    }

    /**
     * @return string[] The attributes that were erased.
     */
    public static function names(Entity $entity): array
    {
        return array_values(array_filter(explode(' ', (string) $entity->get(self::ATTRIBUTE))));
    }
}
