<?php

namespace tests\unit;

use Espo\Core\Utils\Metadata;
use Espo\Entities\User;
use Espo\Modules\BitByLaw\Classes\Sync\SyncUser;
use PHPUnit\Framework\TestCase;

class SyncUserTest extends TestCase
{
    /**
     * @dataProvider users
     * @param string[] $roles
     */
    public function testOnlyAnApiUserWithTheRoleItselfIsTheSync(bool $isApi, array $roles, bool $isSync): void
    {
        $metadata = $this->createMock(Metadata::class);
        $metadata->method('get')->with(['app', 'bitbylaw', 'role', 'id'])->willReturn('bitbylaw-sync');

        $user = $this->createMock(User::class);
        $user->method('isApi')->willReturn($isApi);
        $user->method('getLinkMultipleIdList')->with('roles')->willReturn($roles);

        $this->assertSame($isSync, (new SyncUser($metadata, $user))->isCurrent());
    }

    /**
     * @return array<string, array{bool, string[], bool}>
     */
    public static function users(): array
    {
        return [
            'the sync' => [true, ['other', 'bitbylaw-sync'], true],
            'another API user' => [true, ['other'], false],
            'an API user without roles' => [true, [], false],
            'a person with the role' => [false, ['bitbylaw-sync'], false],
        ];
    }
}
