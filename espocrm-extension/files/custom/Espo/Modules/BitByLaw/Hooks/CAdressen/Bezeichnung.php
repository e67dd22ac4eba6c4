<?php

namespace Espo\Modules\BitByLaw\Hooks\CAdressen;

use Espo\Core\Hook\Hook\BeforeSave;
use Espo\ORM\Entity;
use Espo\ORM\Repository\Option\SaveOptions;

/**
 * Keeps "name" (what EspoCRM shows) and "bezeichnung" (what the integration writes) the same value.
 *
 * Where nobody has entered one it is made of the address, in the words of the integration: "Lange Straße 5, 30159
 * Hannover". It follows the address until somebody writes another.
 *
 * @implements BeforeSave<Entity>
 */
class Bezeichnung implements BeforeSave
{
    private const LENGTH = 255;

    public function beforeSave(Entity $entity, SaveOptions $options): void
    {
        $name = $entity->isAttributeChanged('bezeichnung') ? $entity->get('bezeichnung') : $entity->get('name');

        if (!$name || $this->isMadeOfOldAddress($entity, $name)) {
            $name = $this->label(fn (string $attribute) => $entity->get($attribute)) ?: $name;
        }

        $entity->set(['name' => $name, 'bezeichnung' => $name]);
    }

    private function isMadeOfOldAddress(Entity $entity, string $name): bool
    {
        return !$entity->isNew() &&
            !$entity->isAttributeChanged('name') &&
            !$entity->isAttributeChanged('bezeichnung') &&
            $name === $this->label(fn (string $attribute) => $entity->getFetched($attribute));
    }

    /**
     * @param callable(string): ?string $value
     */
    private function label(callable $value): string
    {
        $street = trim(strtok((string) $value('adresseStreet'), "\r\n") ?: '');
        $box = $value('postfach');
        $place = $value('adresseCity');
        $code = $value('adressePostalCode') ?? ($street === '' ? $value('postfachPLZ') : null);

        if ($street === '' && $box) {
            $street = "Postfach $box";
        }

        $parts = array_filter([$street, trim("$code $place")]);

        return mb_substr(implode(', ', $parts), 0, self::LENGTH);
    }
}
