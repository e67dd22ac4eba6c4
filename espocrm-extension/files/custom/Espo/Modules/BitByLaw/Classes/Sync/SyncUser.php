<?php

namespace Espo\Modules\BitByLaw\Classes\Sync;

use Espo\Core\Utils\Metadata;
use Espo\Entities\User;

/**
 * Tells the integration apart from people: it is the API user with the role that the extension has created.
 */
class SyncUser
{
    public function __construct(
        private Metadata $metadata,
        private User $user
    ) {}

    public function isCurrent(): bool
    {
        return $this->user->isApi() &&
            in_array(
                $this->metadata->get(['app', 'bitbylaw', 'role', 'id']),
                $this->user->getLinkMultipleIdList('roles'),
                true
            );
    }
}
