<?php

namespace Espo\Modules\BitByLaw\Classes\AppParams;

use Espo\Core\Utils\Metadata;
use Espo\Modules\BitByLaw\Classes\Actions\BitByLaw as Actions;
use Espo\Modules\BitByLaw\Classes\Sync\SyncUser;
use Espo\Tools\App\AppParam;

/**
 * What `bitbylaw doctor` reads from GET App/user: is the extension there, and does it know the caller as the sync; and
 * what the client reads there: are the buttons set up.
 */
class BitByLaw implements AppParam
{
    public function __construct(
        private Metadata $metadata,
        private SyncUser $syncUser,
        private Actions $actions
    ) {}

    /**
     * @return array{version: string, isSyncUser: bool, actions: bool}
     */
    public function get(): array
    {
        return [
            'version' => $this->metadata->get(['app', 'bitbylaw', 'version']),
            'isSyncUser' => $this->syncUser->isCurrent(),
            'actions' => $this->actions->isSetUp(),
        ];
    }
}
