<?php

namespace tests\unit;

use Espo\Core\Utils\Config;
use Espo\Entities\Job;
use Espo\Modules\BitByLaw\Classes\Doctor\Instance;
use Espo\ORM\EntityManager;
use Espo\ORM\Repository\RDBRepository;
use Espo\ORM\Repository\RDBSelectBuilder;
use PHPUnit\Framework\TestCase;

class InstanceTest extends TestCase
{
    public function testAnEspoCrmAsItComes(): void
    {
        $found = $this->describe(['requiredPhpVersion' => '8.1.0'], null);

        $this->assertSame(PHP_VERSION, $found['phpVersion']);
        $this->assertSame('8.1.0', $found['requiredPhpVersion']);
        $this->assertNull($found['cronSecondsAgo']);
        $this->assertTrue($found['isApiAccessLogged']);
        $this->assertNull($found['webhookEventPortion']);
    }

    /**
     * @testWith ["authLogDisabled"]
     *           ["authApiUserLogDisabled"]
     */
    public function testEitherSettingEndsTheLogOfApiUsers(string $setting): void
    {
        $this->assertFalse($this->describe([$setting => true], null)['isApiAccessLogged']);
    }

    public function testTheLastJobIsCountedInUtc(): void
    {
        $zone = date_default_timezone_get();
        date_default_timezone_set('Europe/Berlin');

        $seconds = $this->describe([], gmdate('Y-m-d H:i:s', time() - 90))['cronSecondsAgo'];

        date_default_timezone_set($zone);
        $this->assertEqualsWithDelta(90, $seconds, 2);
    }

    /**
     * @param array<string, mixed> $settings
     * @return array<string, mixed>
     */
    private function describe(array $settings, ?string $executedAt): array
    {
        $config = $this->createMock(Config::class);
        $config->method('get')->willReturnCallback(fn (string $name) => $settings[$name] ?? null);

        $job = $this->createMock(Job::class);
        $job->method('get')->with('executedAt')->willReturn($executedAt);

        $select = $this->createMock(RDBSelectBuilder::class);
        $select->method('order')->with('executedAt', 'DESC')->willReturnSelf();
        $select->method('findOne')->willReturn($executedAt === null ? null : $job);

        $repository = $this->createMock(RDBRepository::class);
        $repository->method('where')->willReturn($select);

        $entityManager = $this->createMock(EntityManager::class);
        $entityManager->method('getRDBRepositoryByClass')->with(Job::class)->willReturn($repository);

        return (new Instance($config, $entityManager))->describe();
    }
}
