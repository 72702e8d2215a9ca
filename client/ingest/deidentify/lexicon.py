"""Words that are also names: ordinary ones, and those that stand for a disease, a sign or a scale.

A name that is not here is removed wherever it stands. A name that is here ("Long", "Rose", "Parkinson") is
removed only where its place in the sentence says that a person is meant (`client.ingest.deidentify.sense`),
so each word here costs a little safety for the patients who bear it, and spares everybody else's reports.
English, German, French and Spanish; all words are folded: small letters without accents.
"""

from functools import cache

from client.ingest.deidentify.vocabulary import PLAIN, words
from common.text.ontology import sentences

ALSO_NAMES = words(
    """
    abril ace acres adder allen alt amor ant ante april argent arm art ash aspen auge auger august aura
    aurora autumn back bader baker ball band bank banks bar barba barber barker barn baron base bass bat
    batch bath bauch bauer bay beach beam bean bear beard beat beau bee beer bein bell belt bench bend berg
    berry best bill binder birch bird bis bishop black blade blanc blanche blanco bland blank blau blind
    block blood bloom blot blue blunt boar bois bolt bon bond bone bones book boot booth bore boss bottle
    bottom bouche boucher bow bowel bower bowl bowman box boy brain brake branch brand brandy bras brass
    braun bravo brazil bread break breast breit brick bride bridge bridges bright brink brisk brittle broad
    bronze brook broom brown brun brush brust buck bud bueno bull bulla bunch burden burn burns busch bush
    butcher butler butter button cabello cabeza cable cage cain calle calm camino camp campo campos canal
    candy cane cannon cano cape caput card care carina carol carpenter carrier cart casa case cases cash cast
    castillo castle catch cater cave cavity cell center centro cerro chain chamber chambers champion chance
    chang chapel chapelle charity chase chastity cherry chest chevalier child chin chip church circle clair
    claro clay clear cliff close cloud coach coal coeur coffee cold collar colon comfort company concha
    constant cook cooper coral cord corn corner corona cortes corto costa costilla cotton couch count court
    cousin cove coward crab craft crane crest crisp crook cross crow crown cruise crystal cuello cuerpo cup
    curl curve cutter cyst dam damp dart dash date dawn day days deal dear delgado dell dense dent dew
    diamond die diener dill dinner diver dodge dolor dolores dos dot dove dow down downs drain drake drape
    draper driver droit drop drum duc duck duct dulce dun dunkel dur duro dusk dust eagle earl early east
    easter ebony ecke edge edit elder eldest ella else ember ende engel english esperanza espina ester faible
    fair fairly faith fall falls farm farmer fast fear feather feld fell fellow ferry field fields fin fine
    finger first fischer fish fisher flag flair flank flat fleet fleur flint flood floor florence flower
    flowers fly foie fold font fontaine foot force foreman forest forge fort forth forward fosse foster
    foundation fountain fowler fox france frank free freed freeman frei french friend fries front frost fruh
    fuente fund fur fuss gage gain gall gallo gamble game ganz gap garden gardener gas gate gates gauche gay
    gem gene german gerste gin ginger glass glide gloria glover gold golden good goose gordo grace grade
    graft grain gram grand grande granger grant grave graves gray great green grey grief grip grit groom gros
    gross grove groves grow guerra guest guide gull gun gut guy hack haddock hail hair hale hall halo hals
    ham hammer hand handler hands handy happy harbor hare harm harmony harp hart harvest hatch hatcher haupt
    haus haven hawk hay haze hazel head heal heard heart heath heather heel heiss hell heller helm help herb
    herbst hermoso hernia heron herr herrero herring herz hick hierro high hill hills hip hirsch hirt hitch
    hive hobby hoch hoff hold holder hole holiday holland holler hollow holly holm hombre home honey hood
    hook hope hopper horn house hub huff hug hull hum humble hummer hunt hurt husband hush ice iglesias ill
    inch india iris iron isle ivory ivy izquierdo jade jam jar jasmine jay jet jewel jolly joy judge july
    june jung junior junk just justice kalt kamm keel keen keep keeper kelp kern key keys kid kidney killer
    kind king kings kit kite klar klein klug knee knie knight knoll knot knots konig kopf korn kraft kranz
    kraus kreis kreuz krug kurz lace lack lad lady lake lam lamb lambda lamm lamp lance land lane lange large
    largo lark lash last latch law lawn laws lay layer layman lead leaf leak leal lean leap learn leber lee
    left leg legend leicht lens lent lenz lesser letter lever lid life light lights lily limb lime linde line
    ling link linke linse lion lip lips list little live lively liver load lobe lobo lock loft long longer
    loose lord lore loss lot love lovely low lower lucky lumber lump luna lunch lung lunge luster lux luz
    mace mack maestro magen magnet mai main major male malign mallet man manly manner manos manual mar march
    marina marine mark marker marks marrow marsh mass mast master masters match mate matter may mayor mead
    meadow meadows mean means meat medio medley melody merchant mercy merit merry mesa mesh meta metal might
    mild mile miles mill miller millet mills mina mine miner minor mint mist mitt mitten model moine mole
    molina molly mond monk montes moon moor moreno morrow mort moss moth mount mountain mouse mouth mud mule
    mull mummy munch mund mur murk muse myrtle nagel nail navy near neat neck need nerve ness nest neu new
    newborn newton nez nice nickel niere nieves night nine noble node noir noon norm normal north nose notch
    note nun nurse nut oak ocean oda odd ohr olive opal orange organ os oso ost otter oval over owl ox pace
    pack packer page pages pain painter palm palma palmer pan pang panzer pardo parent paris parish park
    parker parks parrot parson parsons part partridge pass pastor patch patience patient paz peace peach
    peacock peak pear pearl pecho peck peel peer pelo pelt penny pepper perch perfect perla perry person
    petal peter petit petty pfeil pfister phoenix pi pick pickle pie pied piedra pierce pies pigeon pike
    pilar pile pin pine pink pinky pipe piper pit place plage plain plank plant plat plate platz plaza plum
    plummer point poisson pole pollard pollen pond pons pont pool poor pope poppy porch port porta porter
    post pot pound powder power powers prep press price pride priest prime primo prince prior pro proper
    prosper prudence pulley pump purse quick quill rabbit rabe race rad radish rail rain raise ram ramp
    rampart range ranger rash raven raw ray reach read reader reading real reason recht redondo reed reef
    reich reif rein reina reiter rest rey rib rice rich riche richer richter riddle ride ridge riding right
    rim ring rio rios rippe rise river rivers road roads roar robe roche rock rod rogue rojo roll rolls roman
    rome roof rook room root rope rose rosemary rot rouge rough round rounds row rowan royal ruby rucken
    rudder ruff ruhe rule rump runner rush rust rye sable sacks saddle sage sail saint salas sale sales
    salmon salt sample sand sander sands sash sattel savage savanna saw sawyer say sayer scale scales scar
    schatten scheibe schenkel schild schlecht schmal schnitt schon school schutz schwach schwarz scout screen
    screw scull sea seal seals search sears season seat seco see seed seite seller sellers senior serge
    sergeant serra sever sexton shade shadow shaft shank shape sharp shave shearer sheath sheen sheets shelf
    shell shelter shepherd shield shields shin shine ship shoe shoemaker shook shore short shorter shot
    shoulder show shower shunt shy sick side sides sidle sierra sign silk silva silver simmer simple singer
    sink sister six size skin skipper skull sky slack slaughter sleep slide sling slip slope slow small smart
    smoker smooth snail snell snipe snow soft sol sola sole solid song sonntag sore sorrow sound sour south
    spark sparks sparrow spear speck spence spike spine spinner spitz split spoon spot spring springer sprout
    spur square stack stage stain stair stamp standard staple star stark starling stars start state steady
    steel steep stein stem step stern stick still stock stocks stoke stole stolz stomach stone stoner storm
    story stout stove strain strand strange straw stream street stress strict string stroke strong sturgeon
    sturm style suelo suero sugar summer summers sun sunday sung supple sure surge swan sweet swell swift
    sword tab table tack tag tail tailor tall tang tank tape target tart teal team tear teller tellier
    tempest temple temps ten tense tent terrace test tete thick thin thorn three thrush thumb tick tide tief
    tierra tiger tile till tiller timber time tin tine tip tissot toe toll tone tongue tooth top torch torn
    toro torrent touch towel tower towers town trace track trail train trainer trap tray treasure tree
    trigger trim trinity trip tronc trotter trout true trump trunk truss trust tube tuck tuft turk turn
    turtle twin unit urban vale valentine valle vallee valley van vane vara vault vega veil vein veine vela
    vena venus verde verity vest vice viejo vientre vieux vigil villa vine vino viola violet virgin vista
    vita voll wach waist wake wald walk walker wall walls wand ward warden ware warm warmer warning wash
    washer water waterman waters wave waver way weak weaver wedge weeks weich weight weir weiss weit well
    welle wells wende west wetter wheat wheel while whip white whole wicker wide widen wild will willow wills
    win wind winder wine wing winger winner winter winters wirbel wire wisdom wise witness wolf wood wooden
    woodman woods wool word worm worth worthy wrist wunder wurm wurst yard year young younger zahn zange zeh
    zell zimmer zunge zweig
    """
)
"""Ordinary words that people are also called."""

EPONYMS = words(
    """
    robin abrikossoff achilles addison adson albers albright alzheimer amyand andersson apert apgar arnold
    asherman bado baker bankart barlow barrett bartholin barton basedow bassini bechterew becker behcet bell
    bennett berger berry bertin bertolotti bezold billroth binswanger blalock blount blumberg blumensaat
    bochdalek boerhaave bohler bolton bosniak bouchard bourneville bowen bowman braak brenner breslow broca
    brodel brodie brodmann bruce brunner budd buerger burkitt caffey calot camurati cantrell capener caplan
    carman carney caroli carpenter casal cassidy castleman chagas chamberlain charcot charnley chauffard
    chiari chilaiditi child chopart christian churg clark cloquet cobb codman colles conn cooley cooper cori
    couinaud courvoisier cowden cowper coxsackie creutzfeldt crohn cronkhite cruveilhier cullen cushing
    daland dandy dawson degos dejerine denonvillier denonvilliers denys descemet devic diego dieulafoy doege
    dorello douglas down dressler dubin duchenne dukes dupuytren durck duret ebstein edwards ehlers
    eisenmenger ekbom epstein erb erdheim eustachian ewing fabry fallot fanconi fazekas felty fick
    fleischmann fleischner fogarty foley forestier fournier fraenkel freiberg friedreich fuhrman gaffky
    galeazzi galen gamna gardner garre garth gartland gartner gaucher gerlach gerota ghon gilbert gimbernat
    glasgow gleason glenn glisson golgi goodpasture gorham gorlin gosselin goyrand graf graves greenfield
    grey guillain gustilo guyon haglund hallervorden hamman hampton hangman hardinge harris hartmann hartnup
    hashimoto hasson haversian hawkins heberden heimlich heister henle henoch hering herzberg hesselbach
    heubner hickman highmore hill hinchey hippel hirschsprung hodgkin hodgkins hoffa hoffman hoffmann holmes
    holter homan homans honda horner horton hounsfield howship humphry hunt hunter huntington hurler
    hutchinson hyrtl immelman ishak jaccoud jackson jaffe janeway jansky jefferson jones joubert judet kaposi
    kartagener kasabach kasai kaufman kawasaki kayser kellgren kerley kernohan kienbock kiesselbach killian
    kimura king klatskin klippel klumpke koch kohler koller kommerell korsakoff kostmann krabbe krukenberg
    kugelberg kulchitsky kummell kussmaul labbe ladd laennec lambert langer langerhans lasegue lauge lauren
    lawrence legg leigh lemierre leriche lesgaft leventhal levine lewy leydig lhermitte libman lichtenstein
    lisfranc lister littre loeffler looser louis ludloff ludwig luschka lutembacher lyme lynch mackler
    madelung maffucci magendie maisonneuve mallory malpighian marburg marchiafava marfan mayer mazabraud
    mcardle mcburney mcconnell mccune mcgregor mckenzie mclaughlin mcmurray meckel meige meigs menetrier
    meniere menkes merkel meyer meyers mikulicz milroy mirizzi modic moebius monckeberg mondor monro
    monteggia morel morgagni morison morquio morrison morton mounier mueller muller mullerian murphy naclerio
    neer nelson niemann nissen nissl nora ober ogilvie ollier ormond ortner osgood osler paget pancoast
    panner papanicolaou parinaud parkes parkinson parona parsonage patau patrick pauwels pecquet pellegrini
    perthes peutz peyer peyronie pfannenstiel phalen phemister pick pipkin plummer poland pompe pott potter
    poupart pouteau prinzmetal profeta prussak purkinje quincke raeder ramsay ranson rathke raynaud
    recklinghausen reed reinke reiter retzius reye richter riedel rigler risser robson rokitansky roland
    rolando romberg rosai rosenmuller rosenthal rotter roux russell ruysch sachs salter sanders sanger
    santorini satinsky scarpa schatzki scheuermann schilder schiller schlatter schmorl schober schwann
    sedillot segond sengstaken sertoli sharpey sheehan shenton simmonds sinding sjogren skene smith snellen
    sonnenberg spigelian spitz sprengel spurling stafne stanford steinert steinstrasse stener stensen stewart
    still stokes struthers sturge sudeck sutton swan swyer sylvian sylvius syme takayasu takotsubo taussig
    tay taylor terry thiersch thomas thompson thomsen tietze tillaux tinel todani todd tolosa torkildsen
    tourette treitz trendelenburg trevor trolard trousseau tuffier turcot turner uhthoff valsalva vater
    virchow volkmann waldenstrom waldeyer wallenberg waller warren warthin weber wegener weigert weil
    weitbrecht wells werdnig werner wernicke westermark wharton whipple whitaker whitehead wiberg willebrand
    williams willis wilms wilson winslow wirsung wiskott wolff wolman wormian wright wrisberg yergason young
    youngs zeiss zellweger zenker ziehl zollinger zuckerkandl
    """
)
"""People after whom a disease, a sign, a part of the body or a scale is called."""

HEADS = words(
    """
    abscess adenoma anastomosis anemia aneurysm angle anomaly aponeurosis appearance area artery arthritis
    arthropathy bacillus band bodies body canal cancer capsule carcinoma catheter cava cell cells chorea
    chromosome circle cirrhosis cisterna clamp clasificacion classification coils contracture corpuscle
    criteria cyst cysts dacryocystitis deformity dementia diaphragm disease diseases dissection diverticulum
    drain duct ducts dystrophy edema encephalopathy enfermedad enlargement factor fascia filter fissure foot
    foramen force fossa fractura fracture fractures fraktur ganglion gland glands glioma goiter grade grading
    granuloma hemorrhage hernia hernie hiatus hip hump incision index infarct infection jerk joint kidney
    klassifikation krankheit kyste laxity lesion lesions ligament line lines linfoma linien lipoma lobe
    lymphom lymphoma lymphome maladie malformation maneuver manoeuvre mass membrane method morbus nerve
    neurinoma neuroma node nodes nodule nodules notch opacification operation palsy paralysis patch
    phenomenon plane plaque plexus point polyp position pouch probe procedure pseudoaneurysm pulse pustule
    quiste reflex repair response ring rings roots rule sarcoma scale scan score segment septum shadow shunt
    sign signe signo signs sindrome sinus space spaces spasm sphincter spots stage staging stain stenosis
    stent stripe stroke structure sulcus syndrom syndrome syndromes system technique tendon test tetralogy
    tic triad triangle tube tumor tumors tumour type ulcer unit units valve vein view virus zeichen zone
    zyste
    """
)
"""What the name of such a person stands before: "Crohn disease", "Kerley B lines"."""

THINGS = words(
    """
    adult anatomy attenuation bone boy brain cavity chest child cord ct density echogenicity effect
    examination female fluid girl image images imaging injury lady limb male man matter mr mri patient
    patients radiograph radiographs ray region scan trauma us window woman xray
    """
)
"""More words before which an ordinary word is no name: "head injury", "Young man"."""


@cache
def clinical() -> frozenset[str]:
    """Words of the ontology's sentences, so that they are written down once; eponyms are none of them."""
    words = {word for sentence in sentences() for word in sentence.lower().split() if word.isalpha()}
    return frozenset(words - EPONYMS)


@cache
def ordinary() -> frozenset[str]:
    """Every word that a report may write in small letters without meaning a person."""
    return ALSO_NAMES | PLAIN | clinical()


@cache
def familiar() -> frozenset[str]:
    """Every word that a report may use without meaning a person of the study."""
    return ordinary() | EPONYMS


@cache
def no_name() -> frozenset[str]:
    """Words that cannot be a name even after "signed by"."""
    return familiar() - ALSO_NAMES - EPONYMS
