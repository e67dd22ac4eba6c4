<?php

namespace Espo\Modules\BitByLaw\Classes\AppParams;

use Espo\Core\Utils\Metadata;
use Espo\Modules\BitByLaw\Classes\Actions\BitByLaw as Actions;
use Espo\Modules\BitByLaw\Classes\Doctor\Instance;
use Espo\Modules\BitByLaw\Classes\Sync\SyncUser;
use Espo\Tools\App\AppParam;

/**
 * What `bitbylaw doctor` reads from GET App/user: is the extension there, does it know the caller as the sync, and for
 * the sync alone what an API user cannot read otherwise; and what the client reads there: are the buttons set up.
 */
class BitByLaw implements AppParam
{
    public function __construct(
        private Metadata $metadata,
        private SyncUser $syncUser,
        private Actions $actions,
        private Instance $instance
    ) {}

    /**
     * @return array{version: string, isSyncUser: bool, actions: bool, instance: ?array<string, mixed>}
     */
    public function get(): array
    {
        $isSyncUser = $this->syncUser->isCurrent();

        return [
            'version' => $this->metadata->get(['app', 'bitbylaw', 'version']),
            'isSyncUser' => $isSyncUser,
            'actions' => $this->actions->isSetUp(),
            'instance' => $isSyncUser ? $this->instance->describe() : null,
        ];
    }
}
