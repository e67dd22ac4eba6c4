<?php

namespace tests\unit;

use Espo\Core\Exceptions\BadRequest;
use Espo\Core\FieldValidation\Validator;
use Espo\Core\FieldValidation\Validator\Data;
use Espo\Core\FieldValidation\Validator\Failure;
use Espo\Core\Utils\Metadata;
use Espo\Entities\User;
use Espo\Modules\BitByLaw\Classes\FieldValidators\Bic\Valid as Bic;
use Espo\Modules\BitByLaw\Classes\FieldValidators\Iban\Valid as Iban;
use Espo\Modules\BitByLaw\Classes\FieldValidators\Refusals;
use Espo\Modules\BitByLaw\Classes\Sync\SyncUser;
use Espo\ORM\Entity;
use PHPUnit\Framework\TestCase;

class BankDetailsTest extends TestCase
{
    /**
     * @dataProvider ibans
     */
    public function testTheFirstCheckOfAnIbanThatFailsIsSaid(?string $iban, ?string $message): void
    {
        $this->assertSame($message, $this->said(new Iban($this->metadata(), $this->refusals()), 'iban', $iban));
    }

    /**
     * @return array<string, array{?string, ?string}>
     */
    public static function ibans(): array
    {
        return [
            'none' => [null, null],
            'empty' => ['', null],
            'good' => ['DE89370400440532013000', null],
            'blanks and small letters' => [" de89 3704 0044\u{0020}0532 0130 00 ", null],
            'letters in the account' => ['GB82WEST12345698765432', null],
            'no beginning' => ['89370400440532013000', 'ibanStart'],
            'punctuation' => ['DE89-3704-0044-0532-0130-00', 'ibanStart'],
            'line break at the end is a blank' => ["DE89370400440532013000\n", null],
            'unknown country' => ['XX89370400440532013000', 'ibanCountry'],
            'too short' => ['DE8937040044053201300', 'ibanLength'],
            'too long' => ['DE893704004405320130000', 'ibanLength'],
            'letter for a digit' => ['DE8937040044053201300O', 'ibanFormat'],
            'check digits' => ['DE88370400440532013000', 'ibanCheckDigits'],
            'two digits exchanged' => ['DE89370400440532010300', 'ibanCheckDigits'],
        ];
    }

    /**
     * @dataProvider bics
     */
    public function testABicIsCheckedByItsForm(?string $bic, ?string $message): void
    {
        $this->assertSame($message, $this->said(new Bic($this->refusals()), 'bic', $bic));
    }

    /**
     * @return array<int, array{?string, ?string}>
     */
    public static function bics(): array
    {
        return [
            [null, null],
            ['COBADEFFXXX', null],
            ['coba de ff', null],
            ['COBADEFFX', 'bicLength'],
            ['COBA1EFF', 'bicFormat'],
        ];
    }

    public function testTheSyncGetsEspoCrmsOwnFailure(): void
    {
        $failure = (new Bic($this->refusals(isSync: true)))
            ->validate($this->entity('bic', 'COBADEFFX'), 'bic', new Data((object) ['bic' => 'COBADEFFX']));

        $this->assertInstanceOf(Failure::class, $failure);
    }

    /**
     * @param Validator<Entity> $validator
     */
    private function said(Validator $validator, string $field, ?string $value): ?string
    {
        try {
            $failure = $validator->validate($this->entity($field, $value), $field, new Data((object) [$field => $value]));
        } catch (BadRequest $refusal) {
            return json_decode((string) $refusal->getBody())->messageTranslation->label;
        }

        $this->assertNull($failure);

        return null;
    }

    private function entity(string $field, ?string $value): Entity
    {
        $entity = $this->createMock(Entity::class);
        $entity->method('getEntityType')->willReturn('CBankverbindungen');
        $entity->method('get')->willReturnMap([[$field, $value]]);

        return $entity;
    }

    private function refusals(bool $isSync = false): Refusals
    {
        $user = $this->createMock(User::class);
        $user->method('isApi')->willReturn($isSync);
        $user->method('getLinkMultipleIdList')->willReturn(['bitbylaw-sync']);

        return new Refusals(new SyncUser($this->metadata(), $user));
    }

    private function metadata(): Metadata
    {
        $file = __DIR__ . '/../../files/custom/Espo/Modules/BitByLaw/Resources/metadata/app/bitbylaw.json';
        $ours = json_decode((string) file_get_contents($file), true);

        $metadata = $this->createMock(Metadata::class);
        $metadata->method('get')->willReturnCallback(
            fn (array $path) => array_reduce(
                array_slice($path, 2),
                fn (mixed $node, string $key) => $node[$key] ?? null,
                $ours
            )
        );

        return $metadata;
    }
}
