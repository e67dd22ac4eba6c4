<?php

namespace Espo\Modules\BitByLaw\Api;

use Espo\Core\Acl;
use Espo\Core\Acl\Table;
use Espo\Core\Api\Action;
use Espo\Core\Api\Request;
use Espo\Core\Api\Response;
use Espo\Core\Exceptions\BadRequest;
use Espo\Core\Exceptions\Forbidden;
use Espo\Core\Exceptions\NotFound;
use Espo\Core\Utils\Language;
use Espo\Entities\Note;
use Espo\Modules\BitByLaw\Classes\Actions\BitByLaw;
use Espo\ORM\Entity;
use Espo\ORM\EntityManager;

/**
 * POST BitByLaw/CBeteiligte/:id/:action: a button of a CBeteiligte: sync, preview or createAgain.
 *
 * The user needs the right to edit the record, for the preview the right to read it.
 */
class PostAction implements Action
{
    private const ENTITY_TYPE = 'CBeteiligte';
    private const CREATE_AGAIN = 'createAgain';

    /** action => [name at BitByLaw, right] */
    private const ACTIONS = [
        'sync' => ['sync', Table::ACTION_EDIT],
        'preview' => ['preview', Table::ACTION_READ],
        self::CREATE_AGAIN => ['create-again', Table::ACTION_EDIT],
    ];

    public function __construct(
        private Acl $acl,
        private EntityManager $entityManager,
        private BitByLaw $bitByLaw,
        private Language $language
    ) {}

    public function process(Request $request): Response
    {
        $name = (string) $request->getRouteParam('action');

        if (!array_key_exists($name, self::ACTIONS)) {
            throw new BadRequest("Unknown action.");
        }

        [$action, $right] = self::ACTIONS[$name];

        $entity = $this->entityManager->getEntityById(self::ENTITY_TYPE, (string) $request->getRouteParam('id'));

        if (!$entity) {
            throw new NotFound();
        }

        if (!$this->acl->checkEntity($entity, $right)) {
            throw new Forbidden("No $right access.");
        }

        $answer = $this->bitByLaw->post($action, (object) ['id' => $entity->getId()]);

        if ($answer->isSuccess() && $name === self::CREATE_AGAIN) {
            $this->noteOldNumber($entity, $answer->get('formerNumber'));
        }

        return $answer->toResponse();
    }

    /**
     * Keeps in the record's stream who has let it be created again, and the number it had.
     */
    private function noteOldNumber(Entity $entity, mixed $betnr): void
    {
        $text = $this->language->translateLabel('createAgainNote', 'messages', 'BitByLaw');

        $this->entityManager->createEntity(Note::ENTITY_TYPE, [
            'type' => 'Post',
            'parentType' => $entity->getEntityType(),
            'parentId' => $entity->getId(),
            'post' => str_replace('{betnr}', is_string($betnr) ? $betnr : '?', $text),
        ]);
    }
}
