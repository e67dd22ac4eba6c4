<?php

namespace Espo\Modules\BitByLaw\Classes\FieldConverters;

use Espo\Core\Utils\Database\Orm\Defs\EntityDefs;
use Espo\Core\Utils\Database\Orm\FieldConverter;
use Espo\Core\Utils\Database\Orm\FieldConverters\PersonName;
use Espo\ORM\Defs\FieldDefs;

/**
 * The name of a Beteiligter in lists, links and searches: that of the person, or the firm of a company. Lists are
 * sorted by what they show, so that firms stand among persons.
 *
 * Entities\CBeteiligte gives a loaded record the same name.
 *
 * While an older version is being replaced, PHP keeps classes that it has loaded: EspoCRM's rebuild would use the older
 * converter. Whoever changes this one gives it another name.
 */
class PersonOrFirmName implements FieldConverter
{
    private const FIRM = 'firmenname';

    public function __construct(private PersonName $personName) {}

    public function convert(FieldDefs $fieldDefs, string $entityType): EntityDefs
    {
        $entityDefs = $this->personName->convert($fieldDefs, $entityType);
        $name = $entityDefs->getAttribute($fieldDefs->getName());

        if ($name === null) {
            return $entityDefs;
        }

        /** @var array{select: string} $select */
        $select = $name->getParam('select');
        /** @var array{select: string} $foreign */
        $foreign = $name->getParam('selectForeign');
        /** @var array<string, array{whereClause: array<string, array<string, mixed>>}> $where */
        $where = $name->getParam('where');

        $select['select'] = "IFNULL:({$select['select']}, " . self::FIRM . ")";
        $foreign['select'] = "IFNULL:({$foreign['select']}, {alias}." . self::FIRM . ")";

        $where['LIKE']['whereClause']['OR'][self::FIRM . '*'] = '{value}';
        $where['=']['whereClause']['OR'][self::FIRM . '='] = '{value}';

        return $entityDefs->withAttribute(
            $name
                ->withParam('select', $select)
                ->withParam('selectForeign', $foreign)
                ->withParam('where', $where)
                ->withParam('order', ['order' => [[$select['select'], '{direction}']]])
        );
    }
}
