<?php

namespace Espo\Modules\BitByLaw\Repositories;

use Espo\Core\ORM\Repository\Option\SaveOption;
use Espo\Core\Repositories\Database;
use Espo\Modules\BitByLaw\Classes\Sync\Restored;
use Espo\Modules\BitByLaw\Classes\Write\BitbylawSilentSavesAware;
use Espo\Modules\BitByLaw\Classes\Write\SilentSaves;
use Espo\ORM\Entity;

/**
 * Saves with EspoCRM's own option "silent" while the write action asks for it.
 *
 * Silent: modifiedBy and modifiedAt stay, no webhook event, no stream note, no notification. EspoCRM's record service,
 * which does everything else that belongs to a save over the API, takes no save options; hence this place. The
 * constructor is that of the parent, which differs between EspoCRM 8 and 9.
 *
 * @extends Database<Entity>
 */
class Synced extends Database implements BitbylawSilentSavesAware
{
    private SilentSaves $silentSaves;

    public function setBitbylawSilentSaves(SilentSaves $silentSaves): void
    {
        $this->silentSaves = $silentSaves;
    }

    /**
     * @param array<string, mixed> $options
     */
    public function save(Entity $entity, array $options = []): void
    {
        if ($this->silentSaves->isOn()) {
            $options[SaveOption::SILENT] = true;
        }

        parent::save($entity, $options);
    }

    /**
     * EspoCRM only takes the mark of deletion off, without hooks and without a webhook event: the sync would not hear of
     * it.
     */
    public function restoreDeleted(string $id): void
    {
        parent::restoreDeleted($id);

        $entity = $this->getById($id);

        if ($entity !== null) {
            $this->save($entity, [Restored::OPTION => true]);
        }
    }
}
